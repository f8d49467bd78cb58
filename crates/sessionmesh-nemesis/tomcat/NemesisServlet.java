import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.stream.Collectors;

/** The application, as src/app/mesh.rs has it: /login?user=, /write?n=, /read, /logout and /status. */
public class NemesisServlet extends HttpServlet {
    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
        if (request.getServletPath().equals("/status")) {
            answer(response, 200, "ready=true");
            return;
        }
        if (request.getServletPath().equals("/login")) {
            HttpSession session = request.getSession(true);
            session.setAttribute("user", request.getParameter("user"));
            answer(response, 200, told(session));
            return;
        }
        HttpSession session = request.getSession(false);
        if (session == null || session.getAttribute("user") == null) {
            answer(response, 401, "none");
            return;
        }
        switch (request.getServletPath()) {
            case "/read" -> answer(response, 200, told(session));
            case "/write" -> {
                String before = told(session);
                Long number = Long.valueOf(request.getParameter("n"));
                session.setAttribute("n" + number, number);
                session.setAttribute("last", number);
                answer(response, 200, before);
            }
            case "/logout" -> {
                session.invalidate();
                answer(response, 200, "ok");
            }
            default -> answer(response, 404, "no such page");
        }
    }

    private static String told(HttpSession session) {
        String numbers = Collections.list(session.getAttributeNames()).stream()
            .filter(name -> name.matches("n[0-9]+")).map(name -> name.substring(1)).collect(Collectors.joining(","));
        Object last = session.getAttribute("last");
        return "user=" + session.getAttribute("user") + " last=" + (last == null ? "" : last) + " n=" + numbers;
    }

    private static void answer(HttpServletResponse response, int status, String text) throws IOException {
        byte[] body = text.getBytes(StandardCharsets.US_ASCII);
        response.setStatus(status);
        response.setContentType("text/plain");
        response.setContentLength(body.length);
        response.getOutputStream().write(body);
    }
}
