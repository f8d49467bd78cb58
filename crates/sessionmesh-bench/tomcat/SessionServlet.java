import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicLong;

/** The application that is measured, as src/http/site.rs has it: /read, /write?n=BYTES and /new?n=BYTES. */
public class SessionServlet extends HttpServlet {
    private static final String KEY = "a";
    private static final AtomicLong NUMBER = new AtomicLong();

    /** The server ends with the pipe to whoever started it, however that one ends. */
    @Override
    public void init() {
        Thread watch = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (IOException closed) {
                // As good as the end.
            }
            Runtime.getRuntime().halt(0);
        });
        watch.setDaemon(true);
        watch.start();
    }

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
        switch (request.getServletPath()) {
            case "/read" -> read(request.getSession(false), response);
            case "/write" -> write(request.getSession(false), request, response);
            default -> write(request.getSession(true), request, response);
        }
    }

    private static void read(HttpSession session, HttpServletResponse response) throws IOException {
        Object found = session == null ? null : session.getAttribute(KEY);
        if (!(found instanceof String value)) {
            answer(response, 404, "none");
            return;
        }
        int end = value.indexOf(';');
        answer(response, 200, value.length() + " " + (end < 0 ? value : value.substring(0, end)));
    }

    /** Another value each time. A session that was lost is a failure, not a reason for another one. */
    private static void write(HttpSession session, HttpServletRequest request, HttpServletResponse response)
            throws IOException {
        if (session == null) {
            answer(response, 404, "none");
            return;
        }
        long number = NUMBER.getAndIncrement();
        String head = number + ";";
        char[] value = new char[Math.max(Integer.parseInt(request.getParameter("n")), head.length())];
        Arrays.fill(value, 'x');
        head.getChars(0, head.length(), value, 0);
        session.setAttribute(KEY, new String(value));
        answer(response, 200, "ok " + number);
    }

    private static void answer(HttpServletResponse response, int status, String text) throws IOException {
        byte[] body = text.getBytes(StandardCharsets.US_ASCII);
        response.setStatus(status);
        response.setContentType("text/plain");
        response.setContentLength(body.length);
        response.getOutputStream().write(body);
    }
}
